"""The documentation as a site: pages and links are checked, the navigation follows the folders."""
