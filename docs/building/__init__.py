"""What the site holds beside the pages in docs/: it is generated here, and never committed."""
