"""The rival by `torch.func.vmap` does the same work as the textbook."""

import torch

from lib import Experiment, prepare, textbook
from lib.pairs import Pairs
from lib.seeds import generator
from lib.tasks import COMPARISON
from report.speed.contenders import plain
from report.speed.vmap import VmapStack


def test_the_vmapped_networks_learn_as_each_alone():
    e = Experiment.parse("WSN dataset=digits train_pairs=60 test_pairs=40 batch_size=10 learning_rate=0.5")
    trials, epochs = 2, 4
    network, teacher, *_ = prepare(e, range(trials), implementation="torch", dtype=torch.float64)
    start = plain(e, network)
    train, test = teacher.train_pairs, teacher.test_pairs
    stack = VmapStack(plain(e, network), e.learning_rate)
    for _ in range(epochs):
        stack.train(teacher.batches(e.batch_size, like=torch.empty(0, dtype=torch.float64)))
    right = stack.test(Pairs(test.images.double(), test.classes))
    for trial, alone in enumerate(plain(e, network)):
        optimizer = textbook.make_optimizer(alone, "sgd", e.learning_rate, 0)
        order = generator(e.seed, trial, "order")
        images, classes = train.images[trial].double(), train.classes[trial]
        for _ in range(epochs):
            rows = torch.from_numpy(order.permutation(e.train_pairs))
            textbook.train_epoch(alone, optimizer, images, COMPARISON.target(classes), classes, rows, e.batch_size, 0)
        target = COMPARISON.target(test.classes[trial])
        assert textbook.test(alone, test.images[trial].double(), target) == right[trial]
        for name, value in alone.named_parameters():
            torch.testing.assert_close(stack.parameters[name][trial], value, rtol=0, atol=1e-10)
        for name, value in alone.named_buffers():  # running statistics: two updates per batch
            torch.testing.assert_close(stack.buffers[name][trial], value, rtol=0, atol=1e-10)
        moved = (alone.compare[1].weight - start[trial].compare[1].weight).abs().max()
        assert moved > 1e-3, "nothing was learned: the comparison would be vacuous"
