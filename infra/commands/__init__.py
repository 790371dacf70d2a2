"""What `make` targets run: deploy, destroy, logs, template and others."""
