"""A node's end of its connection to the cloud: certificates, Messages, what is sent down."""
