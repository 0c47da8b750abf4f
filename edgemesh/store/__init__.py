"""The only room that knows SQLAlchemy: tables, migrations, queries, one writer."""
