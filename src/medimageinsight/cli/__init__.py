"""The command ``mi2``: one file a verb; each parses, calls one public function, and prints."""
