"""Networks: a backbone turns pixels into a feature map, a detector turns the feature map into a logit."""
