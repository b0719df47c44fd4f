"""A network and face crops -> heatmaps: relevancy, CAM methods and concepts."""
