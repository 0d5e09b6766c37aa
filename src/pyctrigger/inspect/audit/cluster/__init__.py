"""An audit on a Dask cluster: batches of URLs go out, and answers, which are plain data, come back."""
