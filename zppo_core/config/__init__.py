"""The configuration: presets, layouts of machines, overrides, and the methods by name."""

from zppo_core.config.load import from_dict as from_dict
from zppo_core.config.load import load as load
from zppo_core.config.load import parse_override as parse_override
from zppo_core.config.schema import LAYOUTS as LAYOUTS
from zppo_core.config.schema import SCALES as SCALES
from zppo_core.config.schema import AdvantageConfig as AdvantageConfig
from zppo_core.config.schema import ComputeConfig as ComputeConfig
from zppo_core.config.schema import Config as Config
from zppo_core.config.schema import DataConfig as DataConfig
from zppo_core.config.schema import EvaluationConfig as EvaluationConfig
from zppo_core.config.schema import LossConfig as LossConfig
from zppo_core.config.schema import Norm as Norm
from zppo_core.config.schema import OptimizerConfig as OptimizerConfig
from zppo_core.config.schema import ReformulationConfig as ReformulationConfig
from zppo_core.config.schema import ReplayConfig as ReplayConfig
from zppo_core.config.schema import RolloutConfig as RolloutConfig
from zppo_core.config.schema import RunConfig as RunConfig
from zppo_core.config.schema import StoreConfig as StoreConfig
from zppo_core.config.schema import StudentConfig as StudentConfig
from zppo_core.config.schema import TeacherConfig as TeacherConfig
from zppo_core.config.schema import TrainerConfig as TrainerConfig
