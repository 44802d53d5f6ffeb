"""Networks that learn another task: what is opened to training when, and what stays as it was."""
