"""The judge of a life: a plain Debian and ours from the same packages live the same story, boot after boot."""
