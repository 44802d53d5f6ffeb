"""General networks that tasks build upon, one family a file; `apps/catalog.py` names them."""
