"""The cloud's end of the connections of nodes: who they are, what they are sent, what they ask."""
