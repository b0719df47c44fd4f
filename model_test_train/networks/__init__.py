"""Networks: a backbone maps pixels to a feature map, a head maps the feature map to a logit."""
