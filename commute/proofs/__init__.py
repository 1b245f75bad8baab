"""What has been shown of a claim: slices, controls and the verdict that they give."""
