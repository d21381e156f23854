"""What makes the scripts for Argo CD, the examples that they are tested with, and the patch that installs them."""
