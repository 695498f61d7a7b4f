"""The science and the data: knows no cluster, no browser, no asset format."""
