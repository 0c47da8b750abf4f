// Renders a chart with Go's own template engine and sprig, which is what Helm does. Helm itself is
// in no registry of Debian, PyPI or npm; what its package engine adds is as its documentation says.
//
// Standard input: {"chart": DIRECTORY, "given": {"Values", "Release", "Chart"}}.
// Standard output: by template file, the text that it makes.
package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"sigs.k8s.io/yaml"
)

type files struct{ directory string }

func (f files) Get(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(f.directory, name))
	return string(text), err
}

func check(err error) {
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}

func functions(tree *template.Template) template.FuncMap {
	all := sprig.TxtFuncMap()
	all["include"] = func(name string, given interface{}) (string, error) {
		var text strings.Builder
		err := tree.ExecuteTemplate(&text, name, given)
		return text.String(), err
	}
	all["toYaml"] = func(value interface{}) (string, error) {
		text, err := yaml.Marshal(value)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	all["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, requiredError(message)
		}
		return value, nil
	}
	return all
}

type requiredError string

func (e requiredError) Error() string { return string(e) }

func main() {
	var asked struct {
		Chart string                 `json:"chart"`
		Given map[string]interface{} `json:"given"`
	}
	check(json.NewDecoder(os.Stdin).Decode(&asked))
	asked.Given["Files"] = files{asked.Chart}
	tree := template.New("chart").Option("missingkey=zero")
	tree.Funcs(functions(tree))
	paths, err := filepath.Glob(filepath.Join(asked.Chart, "templates", "*"))
	check(err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		check(err)
		_, err = tree.New(filepath.Base(path)).Parse(string(text))
		check(err)
	}
	made := map[string]string{}
	for _, path := range paths {
		name := filepath.Base(path)
		if strings.HasPrefix(name, "_") {
			continue
		}
		var text strings.Builder
		check(tree.ExecuteTemplate(&text, name, asked.Given))
		made[name] = strings.ReplaceAll(text.String(), "<no value>", "")
	}
	check(json.NewEncoder(os.Stdout).Encode(made))
}
