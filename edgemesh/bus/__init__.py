"""Messages between nodes and the cloud: edgehub, cloudhub, links, router."""
