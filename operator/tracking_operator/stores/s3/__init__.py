"""S3: buckets, prefixes, the identities that reach them and the policies that end there."""
