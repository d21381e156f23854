"""Where data lives: PostgreSQL and S3. Blocking, called through ``executor``; knows no Kubernetes."""
