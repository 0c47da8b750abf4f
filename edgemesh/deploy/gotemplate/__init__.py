"""The part of Go's text/template, and of Helm's functions, that the chart is written in.

One set of templates is the source of the objects, for Helm and for ``edgemesh deploy render``.
What the chart does not use is not understood, and said so instead of guessed; tests compare with
Go's own engine.
"""
