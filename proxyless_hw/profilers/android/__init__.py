"""Android phones: through adb, or by a bundle of scripts."""
