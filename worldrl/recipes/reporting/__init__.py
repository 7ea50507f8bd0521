"""The page of ``worldrl report``: what a run left, what is measured for the page, charts, and sections."""
