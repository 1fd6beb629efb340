"""What experiments share: options, stored results, tables, pictures, the report, published numbers."""
