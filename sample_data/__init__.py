"""Small synthetic spine and lung CTs, made the same on every machine, to try and test the bundles on."""
