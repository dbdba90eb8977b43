"""What the paper does not specify, the choice of this reproduction, and its reason."""

UNSPECIFIED = (
    ("kernel size, padding", "3x3, same", "the dataset authors' small CNN; keeps the border"),
    ("fully connected stage of the CNN", "128 units, then 10 classes", "validation accuracy, see below"),
    ("dropout of the CNN", "0.25", "as in the ANN"),
    ("position of batch normalization", "between each layer and its ReLU", "its authors' position"),
    ("batch size", "512", "the paper: “large batches”; effect see below"),
    ("patience", "5 epochs without a lower validation loss", "a fifth of the 25 epochs; effect see below"),
    ("input scaling", "mean and std of the training split", "the usual normalization"),
    ("split", "4,800 and 1,200 images of each class", "stratified; the same images in all runs"),
    ("initial weights", "PyTorch's defaults", "the usual choice"),
    ("loss function", "cross-entropy of the logits", "equals (log-)softmax with negative log-likelihood; more stable"),
    ("seeds, number of runs", "see each table", "fixed in the analysis plan"),
)
