"""The engine: from a batch to an update of the weights. Only this package knows which framework computes."""

from keras_mtl.engine._affinity import LookAhead, check_look_ahead
from keras_mtl.engine._agreement import check_agreement, check_same_training, of_first_worker
from keras_mtl.engine._batch import checks_in_step
from keras_mtl.engine._creation import with_creations
from keras_mtl.engine._data import complete_weights, with_class_weights, with_second_stream
from keras_mtl.engine._functions import is_distributed, make_test_function, make_train_function, needs_own_functions
from keras_mtl.engine._label_checks import as_value_error, checked
from keras_mtl.engine._observed import observed
from keras_mtl.engine._own_state import build_optimizer
from keras_mtl.engine._partition import Partition, check_features, check_shared, partition
from keras_mtl.engine._position import (
    ShuffledArrays,
    can_shuffle,
    endless,
    is_endless,
    number_of_batches,
    read_past,
)
from keras_mtl.engine._readings import pass_taken, reading_begins, readings, share_order
from keras_mtl.engine._strings import strings_as_tensors
from keras_mtl.engine._task_losses import TaskLosses
from keras_mtl.engine._tensorflow import (
    build_metrics,
    losses_by_label,
    plain_total,
    predict_step,
    test_step,
    train_step,
)
from keras_mtl.engine._workers import has_workers, wait_for_all

__all__ = [
    "LookAhead",
    "Partition",
    "ShuffledArrays",
    "TaskLosses",
    "as_value_error",
    "build_metrics",
    "build_optimizer",
    "can_shuffle",
    "check_agreement",
    "check_features",
    "check_look_ahead",
    "check_same_training",
    "check_shared",
    "checked",
    "checks_in_step",
    "complete_weights",
    "endless",
    "has_workers",
    "is_distributed",
    "is_endless",
    "losses_by_label",
    "make_test_function",
    "make_train_function",
    "needs_own_functions",
    "number_of_batches",
    "observed",
    "of_first_worker",
    "partition",
    "pass_taken",
    "plain_total",
    "predict_step",
    "read_past",
    "reading_begins",
    "readings",
    "share_order",
    "strings_as_tensors",
    "test_step",
    "train_step",
    "wait_for_all",
    "with_class_weights",
    "with_creations",
    "with_second_stream",
]
