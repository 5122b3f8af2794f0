"""What people look at and use: the first classifier, the audit, the report."""
