"""What leaves the program: plan.json, anatomy.seg.nrrd, overview.png, and the folder of them."""
