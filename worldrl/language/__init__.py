"""Pictures and words in one space: two towers, prompts in them, and language models that are told what is seen."""
