"""Walk a call to a Service hop by hop, as far as one can without being the application."""
