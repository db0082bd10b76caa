"""Everything that a plugin could leave changed in its process, as code, and the name by which the guard tells of it."""

from __future__ import annotations

from typing import NamedTuple


class Pollution(NamedTuple):
    """Code that runs inside a method's `unlearn_many`, and what the cell's error must say."""

    code: str
    told: str


TORCH = {
    "matmul precision": Pollution("torch.set_float32_matmul_precision('medium')", "torch.set_float32_matmul_precision"),
    "tf32": Pollution("torch.backends.cuda.matmul.allow_tf32 = True", "torch.set_float32_matmul_precision"),
    "fp32 precision": Pollution("torch.backends.mkldnn.matmul.fp32_precision = 'bf16'", "mkldnn matmul"),
    "cudnn tf32": Pollution("torch.backends.cudnn.allow_tf32 = False", "torch.backends.cudnn.allow_tf32"),
    "cudnn benchmark": Pollution("torch.backends.cudnn.benchmark = True", "torch.backends.cudnn.benchmark"),
    "mkldnn": Pollution("torch._C._set_mkldnn_enabled(False)", "torch.backends.mkldnn.enabled"),
    "deterministic": Pollution("torch.use_deterministic_algorithms(True)", "torch.use_deterministic_algorithms"),
    "dtype": Pollution("torch.set_default_dtype(torch.float64)", "torch.set_default_dtype"),
    "device": Pollution("torch.set_default_device('meta')", "torch.set_default_device (from cpu to meta)"),
    "device entered": Pollution(
        "torch.device('meta').__enter__()", "torch's function modes (from none to DeviceContext"
    ),
    "no grad": Pollution("torch.set_grad_enabled(False)", "torch.set_grad_enabled (from True to False)"),
    "inference": Pollution(
        "import colorsys; colorsys.inference = torch.inference_mode(); colorsys.inference.__enter__()",
        "torch.inference_mode",
    ),
    "autocast": Pollution("torch.autocast('cpu', dtype=torch.bfloat16).__enter__()", "torch.autocast"),
    "autocast dtype": Pollution("torch.set_autocast_dtype('cpu', torch.float16)", "torch.autocast('cpu', dtype)"),
    "autocast cache": Pollution("torch.set_autocast_cache_enabled(False)", "torch.autocast's cache"),
    "threads": Pollution("torch.set_num_threads(torch.get_num_threads() + 1)", "torch.set_num_threads"),
    "anomaly": Pollution("torch.autograd.set_detect_anomaly(True)", "torch.autograd.set_detect_anomaly"),
    "fast path": Pollution("torch.backends.mha.set_fastpath_enabled(False)", "set_fastpath_enabled"),
    "function mode": Pollution(
        "from torch.overrides import TorchFunctionMode\n"
        "class Same(TorchFunctionMode):\n"
        "    def __torch_function__(self, func, types, args=(), kwargs=None):\n"
        "        return func(*args, **(kwargs or {}))\n"
        "import colorsys; colorsys.mode = Same()\ncolorsys.mode.__enter__()",
        "torch's function modes",
    ),
    "dispatch mode": Pollution(
        "from torch.utils._python_dispatch import TorchDispatchMode\n"
        "class Zeros(TorchDispatchMode):\n"
        "    def __torch_dispatch__(self, func, types, args=(), kwargs=None):\n"
        "        found = func(*args, **(kwargs or {}))\n"
        "        return found * 0 if func is torch.ops.aten.mul.Tensor else found\n"
        "import colorsys; colorsys.zeros = Zeros()\ncolorsys.zeros.__enter__()",
        "torch's dispatch modes",
    ),
    "saved tensors": Pollution(
        "torch.autograd.graph.saved_tensors_hooks(lambda x: x * 0, lambda x: x).__enter__()", "saved_tensors_hooks"
    ),
    "module hook": Pollution(
        "torch.nn.modules.module.register_module_forward_hook(lambda *given: given[-1] * 0)", "_global_forward_hooks"
    ),
    "multithreading": Pollution("torch._C._set_multithreading_enabled(False)", "set_multithreading_enabled"),
    "sdp": Pollution("torch.backends.cuda.enable_flash_sdp(False)", "enable_flash_sdp"),
    "vmap fallback": Pollution(
        "torch._C._functorch._set_vmap_fallback_enabled(False)", "torch.func's fallback of vmap"
    ),
    "dual level": Pollution("torch.autograd.forward_ad.enter_dual_level()", "torch.autograd.forward_ad's dual level"),
    "dual level below": Pollution("torch._C._enter_dual_level()", "torch.autograd.forward_ad's dual level"),
    "excluded key": Pollution(
        "torch._C._dispatch_tls_set_dispatch_key_excluded(torch._C.DispatchKey.AutogradCPU, True)",
        "torch's excluded dispatch keys",
    ),
    "included key": Pollution(
        "torch._C._dispatch_tls_set_dispatch_key_included(torch._C.DispatchKey.AutocastCPU, True)",
        "torch's included dispatch keys",
    ),
    "containers": Pollution(
        "import torch.utils._pytree as p; p.SUPPORTED_NODES[dict] = "
        "p.SUPPORTED_NODES[dict]._replace(flatten_fn=lambda d: ([], []))",
        "torch.utils._pytree.SUPPORTED_NODES",
    ),
    "no containers": Pollution(
        "import torch.utils._pytree as p; p.SUPPORTED_NODES = {}", "torch.utils._pytree.SUPPORTED_NODES"
    ),
    "container of all": Pollution(
        "import torch.utils._pytree as p\np.SUPPORTED_NODES[torch.nn.Parameter] = p.SUPPORTED_NODES[dict]",
        "torch.utils._pytree.SUPPORTED_NODES",
    ),
    "warn always": Pollution("torch.set_warn_always(True)", "torch.set_warn_always"),
}
PROCESS = {
    "warnings": Pollution("import warnings; warnings.simplefilter('error')", "warnings.filters"),
    "no warnings": Pollution("import warnings; warnings.resetwarnings()", "warnings.filters"),
    "log level": Pollution("import logging; logging.getLogger().setLevel(1)", "logging's root level"),
    "log handler": Pollution("import logging; logging.getLogger().addHandler(logging.NullHandler())", "root handlers"),
    "logging": Pollution("import logging; logging.disable(50)", "logging.disable"),
    "folder": Pollution("os.chdir('/')", "os.chdir"),
    "variable": Pollution(
        "os.environ['UNLEARNBENCH_SECRET'] = 'hidden'", "os.environ['UNLEARNBENCH_SECRET'] (from unset"
    ),
    "no variable": Pollution("del os.environ['PATH']", "os.environ['PATH']"),
    "signal": Pollution("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "the handler of SIGTERM"),
    "alarm": Pollution("signal.alarm(600)", "signal.setitimer(ITIMER_REAL) (from off to"),
    "timer": Pollution(
        "signal.setitimer(signal.ITIMER_REAL, 600, 5)",
        "signal.setitimer(ITIMER_REAL) (from off to 600 s, then every 5 s",
    ),
    "virtual timer": Pollution("signal.setitimer(signal.ITIMER_VIRTUAL, 600)", "signal.setitimer(ITIMER_VIRTUAL)"),
    "profiling timer": Pollution("signal.setitimer(signal.ITIMER_PROF, 600)", "signal.setitimer(ITIMER_PROF)"),
    "blocked signals": Pollution(
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})",
        "signal.pthread_sigmask (from none to SIGHUP, SIGINT, SIGTERM)",
    ),
    "trace": Pollution("import sys; sys.settrace(lambda *given: None)", "sys.settrace"),
    "umask": Pollution("os.umask(0o777 - os.umask(0))", "os.umask"),
    "recursion": Pollution("import sys; sys.setrecursionlimit(4321)", "sys.setrecursionlimit"),
    "digits": Pollution("import sys; sys.set_int_max_str_digits(700)", "sys.set_int_max_str_digits"),
    "profile": Pollution("import sys; sys.setprofile(lambda *given: None)", "sys.setprofile"),
    "numpy errors": Pollution("import numpy; numpy.seterr(all='raise')", "numpy.seterr"),
    "numpy printing": Pollution("import numpy; numpy.set_printoptions(precision=2)", "numpy.set_printoptions"),
    "decimal": Pollution("import decimal; decimal.getcontext().prec = 3", "decimal.getcontext().prec"),
    "path": Pollution("import sys; sys.path.pop()", "sys.path"),
    "stdout": Pollution("import io, sys; sys.stdout = io.StringIO()", "sys.stdout"),
    "hook": Pollution("import sys; sys.excepthook = print", "sys.excepthook"),
    "gc": Pollution("import gc; gc.disable()", "gc.disable"),
    "gc often": Pollution("import gc; gc.set_threshold(11, 12, 13)", "gc.set_threshold"),
    "thread": Pollution(
        "import threading; threading.Thread(target=time.sleep, args=(1.5,), name='later', daemon=True).start()",
        "'later' that still runs",
    ),
}
KEPT = "import colorsys; colorsys.library = torch.library.Library('aten', 'IMPL')\n"  # as long as this process lives
NAMES = {
    "functional": Pollution("torch.nn.functional.log_softmax = lambda x, **how: x", "torch.nn.functional.log_softmax"),
    "torch": Pollution("torch.sigmoid = torch.tanh", "torch.sigmoid"),
    "inherited": Pollution("torch.Tensor.add = torch.Tensor.sub", "torch.Tensor.add"),
    "tensor": Pollution("torch.Tensor.backward = lambda self: None", "torch.Tensor.backward"),
    "module": Pollution("torch.nn.Linear.forward = lambda self, x: x", "Linear.forward"),
    "optimiser": Pollution("torch.optim.Adam.step = lambda self: None", "Adam.step"),
    "kernel": Pollution(
        KEPT + "colorsys.library.impl('_log_softmax', lambda x, dim, half: x * 0, 'CPU')",
        "torch.library's kernel aten/_log_softmax/CPU",
    ),
    **{
        f"kernel under {key}": Pollution(
            KEPT + f"colorsys.library.impl('relu', lambda x: torch.clamp(x, min=0) * 1.05, '{key}')",
            f"torch.library's kernel aten/relu/{key}",
        )
        for key in ("Autograd", "FuncTorchBatched", "ADInplaceOrView", "BackendSelect", "AutocastCPU", "CUDA")
    },
    "kernel of a transform": Pollution(
        KEPT + "colorsys.library.impl('log_softmax.int', lambda x, dim, dtype=None: x * 0, 'FuncTorchBatched')",
        "torch.library's kernel aten/log_softmax.int/FuncTorchBatched",
    ),
    "kernel that Python had": Pollution(
        KEPT + "colorsys.library.impl('nll_loss_forward', lambda *given: given[0] * 0, 'FuncTorchBatched')",
        "torch.library's kernel aten/nll_loss_forward/FuncTorchBatched",
    ),
    "kernel by decorator": Pollution(
        "torch.library.impl('aten::relu', 'default')(lambda x: x)",
        "torch.library's kernel aten/relu/CompositeExplicitAutograd",
    ),
    "kernel for a device": Pollution(
        "torch.library.register_kernel('aten::tanh', 'cpu')(lambda x: x)", "torch.library's kernel aten/tanh/CPU"
    ),
    "batching": Pollution(
        "torch.library.register_vmap('aten::relu', lambda info, dims, x: (x * 0, dims[0]))",
        "torch.library's kernel aten/relu/FuncTorchBatched",
    ),
    "gradient": Pollution(
        "torch.library.register_autograd('aten::relu', lambda context, gradient: gradient * 0)",
        "torch.library's kernel aten/relu/Autograd",
    ),
    "overload": Pollution(
        "import colorsys; colorsys.library = torch.library.Library('aten', 'FRAGMENT')\n"
        "colorsys.library.define('relu.mine(Tensor x, int y) -> Tensor')",
        "torch.library's operator aten::relu.mine",
    ),
    "fallback": Pollution(
        "import colorsys; colorsys.library = torch.library.Library('_', 'IMPL')\n"
        "colorsys.library.fallback(lambda op, *given, **named: op(*given, **named), 'SparseCsrCPU')",
        "torch.library's fallback of SparseCsr",
    ),
    "numpy": Pollution("import numpy; numpy.mean = numpy.median", "numpy.mean"),
    "ranks": Pollution(
        "import scipy.stats as s, numpy; s.rankdata = lambda a, *given, **named: numpy.zeros(len(a))",
        "scipy.stats.rankdata",
    ),
    "entropy": Pollution("import scipy.stats as s; s.entropy = lambda *given, **named: 0.0", "scipy.stats.entropy"),
    "distribution": Pollution(
        "torch.distributions.Normal.log_prob = lambda self, x: x * 0", "torch.distributions.normal.Normal.log_prob"
    ),
    "math": Pollution("import math; math.log = math.sqrt", "math.log"),
    "builtin": Pollution("import builtins; builtins.sum = max", "builtins.sum"),
    "clock": Pollution("time.perf_counter = lambda: 0.0", "time.perf_counter"),
    "harness function": Pollution(
        "import unlearnbench.stages.scoring as s; s.score = dict", "unlearnbench.stages.scoring.score"
    ),
    "harness constant": Pollution(
        "import unlearnbench.stages.attacking as a; a.PICTURES = 1", "unlearnbench.stages.attacking.PICTURES"
    ),
    "shadowed builtin": Pollution(
        "import unlearnbench.stages.evaluation as e; e.sum = max", "unlearnbench.stages.evaluation.sum"
    ),
    "harness module": Pollution(
        "import unlearnbench.stages.evaluation as e; e.torch = None", "unlearnbench.stages.evaluation.torch"
    ),
    "harness class": Pollution("from unlearnbench.models.stack import Stack; Stack.outputs = None", "Stack.outputs"),
    "code": Pollution(
        "import unlearnbench.stages.evaluation as e; e.evaluate.__code__ = (lambda *given: {}).__code__",
        "evaluate's __code__",
    ),
    "another plugin": Pollution("from unlearnbench.methods import vbu; vbu.Vbu.loss = None", "Vbu.loss"),
    "imported modules": Pollution("import sys; sys.modules['unlearnbench.stages.evaluation'] = time", "sys.modules"),
}
EVERY = TORCH | PROCESS | NAMES
# Classes of libraries that a worker imports late: put back where they were there before the plugin.
IMPORTED = {
    "clusters": Pollution("import sklearn.cluster as s; s.KMeans.fit = lambda self, *given: self", "KMeans.fit"),
    "tables": Pollution("import pandas; pandas.DataFrame.mean = pandas.DataFrame.sum", "DataFrame.mean"),
}
# What methods share is written into: what they are handed, or find by themselves; torch counts the first two only.
FOUND = (
    "import gc; found = [each for each in gc.get_objects() if type(each) is torch.Tensor and each.dtype == torch.int64]"
)
WRITES = {
    "handed": "sets.pool.pixels.zero_()",
    "found": f"{FOUND}; [each.zero_() for each in found]",
    "pixels_by_numpy": "sets.pool.pixels.numpy()[:, :, :2] = 255",
    "pixels_by_data": "sets.pool.pixels.data[:, :, :2] = 255",
    "labels": "sets.pool.labels.numpy()[...] = 3",
    "labels_in_another_order": "import numpy; numpy.random.default_rng(0).shuffle(sets.pool.labels.numpy())",
    "ids": "sets.pool.ids.numpy()[...] += 1",
    "members": "sets.members.numpy()[...] = sets.members.numpy()[0]",
    "found_by_numpy": f"{FOUND}; [each.numpy().fill(0) for each in found if each.numel() > 9]",
}
# In proper with-blocks, and what nobody else sees.
HARMLESS = {
    "autocast": "with torch.autocast('cpu', dtype=torch.bfloat16): torch.ones(2, 2) @ torch.ones(2, 2)",
    "no grad": "with torch.no_grad(): torch.ones(2)",
    "inference": "with torch.inference_mode(): torch.ones(2)",
    "device": "with torch.device('meta'): torch.ones(2)",
    "warnings": "import warnings\nwith warnings.catch_warnings(): warnings.simplefilter('error')",
    "own warnings": "import warnings; warnings.filterwarnings('ignore', message='mine')",
    "numpy": "import numpy\nwith numpy.errstate(all='raise'): pass",
    "decimal": "import decimal\nwith decimal.localcontext() as c: c.prec = 2\ndecimal.Decimal(1) / 3",
    "random": "import random, numpy; torch.manual_seed(1); torch.rand(3); numpy.random.rand(); random.random()",
    "lazy import": "import sklearn.svm, sklearn.gaussian_process, scipy.signal, torch.distributions",
    "optimiser": "torch.optim.RMSprop([torch.nn.Parameter(torch.ones(1))]).step()",
    "hook of a model": "torch.nn.Linear(1, 1).register_forward_hook(lambda *given: None).remove()",
    "own library": "torch.library.Library('guard_tests', 'FRAGMENT').define('f(Tensor x) -> Tensor')",
    "own operator": (
        "import colorsys; colorsys.own = own = torch.library.Library('guard_own', 'FRAGMENT')\n"
        "name = f'f{len(own._op_defs) + time.monotonic_ns()}'\n"
        "own.define(name + '(Tensor x) -> Tensor'); own.impl(name, lambda x: x + 1, 'CPU')\n"
        "torch.library.register_autograd('guard_own::' + name, lambda context, gradient: gradient, lib=own)"
    ),
    "vectorised": "torch.func.vmap(torch.nn.functional.nll_loss)(torch.ones(2, 3, 4), torch.ones(2, 3, dtype=int))",
    "own container": (
        "import torch.utils._pytree as p\nclass Pair(tuple): pass\n"
        "p.register_pytree_node(Pair, lambda pair: (list(pair), None), lambda parts, _: Pair(parts))"
    ),
    "forward mode": "torch.func.jvp(torch.sin, (torch.ones(2),), (torch.ones(2),))",
    "timer": "signal.setitimer(signal.ITIMER_REAL, 600); signal.setitimer(signal.ITIMER_REAL, 0)",
    "thread": "import threading; t = threading.Thread(target=time.sleep, args=(0.01,)); t.start()",
    "warned": "import warnings\nwith warnings.catch_warnings(): warnings.simplefilter('ignore'); warnings.warn('x')",
    "path": "import sys; sys.path.insert(0, '/nowhere')",
    "pool": "import joblib; joblib.Parallel(2, backend='threading')(joblib.delayed(len)('a') for _ in range(4))",
}
