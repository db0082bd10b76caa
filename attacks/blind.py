"""Blind: which images are members? Judged from the images alone, without querying a model."""

import warnings

import numpy as np
import torch
from pydantic import Field

from unlearnbench.plugin import Access, Attack, AttackView, Evidence, Images, PluginParams


class Blind(Attack):
    """A classifier from pixels to member or not (Das et al.): what the data sets reveal without any model.

    Members are training images; the others are, in utility experiments, test images. If the two were not drawn in the
    same way, an attack on a model may tell them apart without using the model: only an AUC above this attack's comes
    from the model. The classifier is a small network on standardised pixels; a tenth of the known images decides when
    training stops, so that it does not learn the known images by heart.
    """

    paper = "Das, Zhang, Tramer: Blind Baselines Beat Membership Inference Attacks for Foundation Models, 2024"
    ranks_by = ()

    class Params(PluginParams):
        hidden: int = Field(96, ge=1, description="hidden units")
        epochs: int = Field(40, ge=1, description="most epochs of training")

    @property
    def access(self) -> Access:
        return Access(level="label", members=True)

    def run(self, view: AttackView) -> Evidence:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        images, membership = view.known()
        network = MLPClassifier(
            (self.params.hidden,), batch_size=20, max_iter=self.params.epochs, early_stopping=True,
            random_state=view.torch_seed("network") % 2**32,
        )  # fmt: skip
        classifier = make_pipeline(StandardScaler(), network)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is a parameter
            classifier.fit(_pixels(images), membership.numpy())
        scores = classifier.predict_proba(_pixels(view.challenge()))[:, 1]
        return Evidence(membership=torch.from_numpy(scores).double(), threshold=0.5, subject="challenge")


def _pixels(images: Images) -> np.ndarray:
    """float32[n, C H W] in [0, 1]."""
    return images.scaled.cpu().flatten(1).float().numpy()
