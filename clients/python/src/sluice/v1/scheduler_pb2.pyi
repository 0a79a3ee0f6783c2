import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sluice.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AllocateRequest(_message.Message):
    __slots__ = ("workload", "request_id", "lease_ttl", "hold", "policy")
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TTL_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    workload: _types_pb2.Workload
    request_id: str
    lease_ttl: _duration_pb2.Duration
    hold: _types_pb2.Hold
    policy: str
    def __init__(self, workload: _Optional[_Union[_types_pb2.Workload, _Mapping]] = ..., request_id: _Optional[str] = ..., lease_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., hold: _Optional[_Union[_types_pb2.Hold, str]] = ..., policy: _Optional[str] = ...) -> None: ...

class AllocateResponse(_message.Message):
    __slots__ = ("lease", "refusal")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    lease: _types_pb2.Lease
    refusal: _types_pb2.Refusal
    def __init__(self, lease: _Optional[_Union[_types_pb2.Lease, _Mapping]] = ..., refusal: _Optional[_Union[_types_pb2.Refusal, _Mapping]] = ...) -> None: ...

class WaitForResourcesRequest(_message.Message):
    __slots__ = ("workload", "request_id", "timeout", "poll_interval", "lease_ttl", "hold", "policy", "grace_time")
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    POLL_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    LEASE_TTL_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    GRACE_TIME_FIELD_NUMBER: _ClassVar[int]
    workload: _types_pb2.Workload
    request_id: str
    timeout: _duration_pb2.Duration
    poll_interval: _duration_pb2.Duration
    lease_ttl: _duration_pb2.Duration
    hold: _types_pb2.Hold
    policy: str
    grace_time: _duration_pb2.Duration
    def __init__(self, workload: _Optional[_Union[_types_pb2.Workload, _Mapping]] = ..., request_id: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., poll_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., lease_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., hold: _Optional[_Union[_types_pb2.Hold, str]] = ..., policy: _Optional[str] = ..., grace_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WaitForResourcesResponse(_message.Message):
    __slots__ = ("ticket_id", "request_id", "queued", "granted", "refused", "timed_out")
    TICKET_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    TIMED_OUT_FIELD_NUMBER: _ClassVar[int]
    ticket_id: str
    request_id: str
    queued: Queued
    granted: Granted
    refused: Refused
    timed_out: TimedOut
    def __init__(self, ticket_id: _Optional[str] = ..., request_id: _Optional[str] = ..., queued: _Optional[_Union[Queued, _Mapping]] = ..., granted: _Optional[_Union[Granted, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., timed_out: _Optional[_Union[TimedOut, _Mapping]] = ...) -> None: ...

class Queued(_message.Message):
    __slots__ = ("position", "reasons", "eta", "waited", "queue_length", "expected_start", "estimate_basis")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    ETA_FIELD_NUMBER: _ClassVar[int]
    WAITED_FIELD_NUMBER: _ClassVar[int]
    QUEUE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_START_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_BASIS_FIELD_NUMBER: _ClassVar[int]
    position: int
    reasons: _containers.RepeatedCompositeFieldContainer[_types_pb2.Reason]
    eta: _timestamp_pb2.Timestamp
    waited: _duration_pb2.Duration
    queue_length: int
    expected_start: _timestamp_pb2.Timestamp
    estimate_basis: _types_pb2.EstimateBasis
    def __init__(self, position: _Optional[int] = ..., reasons: _Optional[_Iterable[_Union[_types_pb2.Reason, _Mapping]]] = ..., eta: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., waited: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., queue_length: _Optional[int] = ..., expected_start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., estimate_basis: _Optional[_Union[_types_pb2.EstimateBasis, str]] = ...) -> None: ...

class Granted(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: _types_pb2.Lease
    def __init__(self, lease: _Optional[_Union[_types_pb2.Lease, _Mapping]] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("refusal",)
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    refusal: _types_pb2.Refusal
    def __init__(self, refusal: _Optional[_Union[_types_pb2.Refusal, _Mapping]] = ...) -> None: ...

class TimedOut(_message.Message):
    __slots__ = ("waited", "reasons")
    WAITED_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    waited: _duration_pb2.Duration
    reasons: _containers.RepeatedCompositeFieldContainer[_types_pb2.Reason]
    def __init__(self, waited: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reasons: _Optional[_Iterable[_Union[_types_pb2.Reason, _Mapping]]] = ...) -> None: ...

class RenewLeaseRequest(_message.Message):
    __slots__ = ("lease_id", "token", "ttl")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    token: int
    ttl: _duration_pb2.Duration
    def __init__(self, lease_id: _Optional[str] = ..., token: _Optional[int] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RenewLeaseResponse(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: _types_pb2.Lease
    def __init__(self, lease: _Optional[_Union[_types_pb2.Lease, _Mapping]] = ...) -> None: ...

class ReleaseLeaseRequest(_message.Message):
    __slots__ = ("lease_id", "token")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    token: int
    def __init__(self, lease_id: _Optional[str] = ..., token: _Optional[int] = ...) -> None: ...

class ReleaseLeaseResponse(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: _types_pb2.Lease
    def __init__(self, lease: _Optional[_Union[_types_pb2.Lease, _Mapping]] = ...) -> None: ...

class GetLeaseRequest(_message.Message):
    __slots__ = ("lease_id",)
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    def __init__(self, lease_id: _Optional[str] = ...) -> None: ...

class GetLeaseResponse(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: _types_pb2.Lease
    def __init__(self, lease: _Optional[_Union[_types_pb2.Lease, _Mapping]] = ...) -> None: ...

class ListLeasesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListLeasesResponse(_message.Message):
    __slots__ = ("leases",)
    LEASES_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedCompositeFieldContainer[_types_pb2.Lease]
    def __init__(self, leases: _Optional[_Iterable[_Union[_types_pb2.Lease, _Mapping]]] = ...) -> None: ...

class StartExecutionRequest(_message.Message):
    __slots__ = ("lease_id", "token")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    token: int
    def __init__(self, lease_id: _Optional[str] = ..., token: _Optional[int] = ...) -> None: ...

class StartExecutionResponse(_message.Message):
    __slots__ = ("execution_id",)
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    def __init__(self, execution_id: _Optional[str] = ...) -> None: ...

class FinishExecutionRequest(_message.Message):
    __slots__ = ("lease_id", "execution_id")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    execution_id: str
    def __init__(self, lease_id: _Optional[str] = ..., execution_id: _Optional[str] = ...) -> None: ...

class FinishExecutionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AttachProcessRequest(_message.Message):
    __slots__ = ("lease_id", "token", "pid")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    token: int
    pid: int
    def __init__(self, lease_id: _Optional[str] = ..., token: _Optional[int] = ..., pid: _Optional[int] = ...) -> None: ...

class AttachProcessResponse(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: _types_pb2.Lease
    def __init__(self, lease: _Optional[_Union[_types_pb2.Lease, _Mapping]] = ...) -> None: ...

class ListActivePluginsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ActivePlugin(_message.Message):
    __slots__ = ("name", "executions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    executions: int
    def __init__(self, name: _Optional[str] = ..., executions: _Optional[int] = ...) -> None: ...

class ListActivePluginsResponse(_message.Message):
    __slots__ = ("plugins",)
    PLUGINS_FIELD_NUMBER: _ClassVar[int]
    plugins: _containers.RepeatedCompositeFieldContainer[ActivePlugin]
    def __init__(self, plugins: _Optional[_Iterable[_Union[ActivePlugin, _Mapping]]] = ...) -> None: ...

class WatchLeaseRequest(_message.Message):
    __slots__ = ("lease_id", "token")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    token: int
    def __init__(self, lease_id: _Optional[str] = ..., token: _Optional[int] = ...) -> None: ...

class WatchLeaseResponse(_message.Message):
    __slots__ = ("snapshot", "eviction_requested", "renewed", "ended")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    EVICTION_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    RENEWED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    snapshot: LeaseSnapshot
    eviction_requested: EvictionRequested
    renewed: Renewed
    ended: Ended
    def __init__(self, snapshot: _Optional[_Union[LeaseSnapshot, _Mapping]] = ..., eviction_requested: _Optional[_Union[EvictionRequested, _Mapping]] = ..., renewed: _Optional[_Union[Renewed, _Mapping]] = ..., ended: _Optional[_Union[Ended, _Mapping]] = ...) -> None: ...

class LeaseSnapshot(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: _types_pb2.Lease
    def __init__(self, lease: _Optional[_Union[_types_pb2.Lease, _Mapping]] = ...) -> None: ...

class EvictionRequested(_message.Message):
    __slots__ = ("deadline", "reason")
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    deadline: _timestamp_pb2.Timestamp
    reason: str
    def __init__(self, deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class Renewed(_message.Message):
    __slots__ = ("expires_at",)
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Ended(_message.Message):
    __slots__ = ("why",)
    WHY_FIELD_NUMBER: _ClassVar[int]
    why: _types_pb2.LeaseEnd
    def __init__(self, why: _Optional[_Union[_types_pb2.LeaseEnd, str]] = ...) -> None: ...

class ListQueueRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Ticket(_message.Message):
    __slots__ = ("id", "request_id", "workload", "position", "submitted_at", "age", "deadline", "reasons", "policy", "connected", "overtaken", "eta", "expected_start", "estimate_basis")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    OVERTAKEN_FIELD_NUMBER: _ClassVar[int]
    ETA_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_START_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_BASIS_FIELD_NUMBER: _ClassVar[int]
    id: str
    request_id: str
    workload: _types_pb2.Workload
    position: int
    submitted_at: _timestamp_pb2.Timestamp
    age: _duration_pb2.Duration
    deadline: _timestamp_pb2.Timestamp
    reasons: _containers.RepeatedCompositeFieldContainer[_types_pb2.Reason]
    policy: str
    connected: bool
    overtaken: int
    eta: _timestamp_pb2.Timestamp
    expected_start: _timestamp_pb2.Timestamp
    estimate_basis: _types_pb2.EstimateBasis
    def __init__(self, id: _Optional[str] = ..., request_id: _Optional[str] = ..., workload: _Optional[_Union[_types_pb2.Workload, _Mapping]] = ..., position: _Optional[int] = ..., submitted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reasons: _Optional[_Iterable[_Union[_types_pb2.Reason, _Mapping]]] = ..., policy: _Optional[str] = ..., connected: bool = ..., overtaken: _Optional[int] = ..., eta: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expected_start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., estimate_basis: _Optional[_Union[_types_pb2.EstimateBasis, str]] = ...) -> None: ...

class TenantAccount(_message.Message):
    __slots__ = ("tenant", "waiting", "gpus", "vram_mb", "usage", "max_gpus", "max_vram_mb", "max_waiting")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    VRAM_MB_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    MAX_GPUS_FIELD_NUMBER: _ClassVar[int]
    MAX_VRAM_MB_FIELD_NUMBER: _ClassVar[int]
    MAX_WAITING_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    waiting: int
    gpus: int
    vram_mb: int
    usage: _duration_pb2.Duration
    max_gpus: int
    max_vram_mb: int
    max_waiting: int
    def __init__(self, tenant: _Optional[str] = ..., waiting: _Optional[int] = ..., gpus: _Optional[int] = ..., vram_mb: _Optional[int] = ..., usage: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_gpus: _Optional[int] = ..., max_vram_mb: _Optional[int] = ..., max_waiting: _Optional[int] = ...) -> None: ...

class GpuAccount(_message.Message):
    __slots__ = ("uuid", "index", "name", "total_mb", "capacity_mb", "used_mb", "free_mb", "foreign_mb", "outstanding_mb", "claimed_mb", "available_mb", "blocked", "blocked_code", "observed_at", "lease_ids", "draining_mb", "attributed")
    UUID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MB_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_MB_FIELD_NUMBER: _ClassVar[int]
    USED_MB_FIELD_NUMBER: _ClassVar[int]
    FREE_MB_FIELD_NUMBER: _ClassVar[int]
    FOREIGN_MB_FIELD_NUMBER: _ClassVar[int]
    OUTSTANDING_MB_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_MB_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_MB_FIELD_NUMBER: _ClassVar[int]
    BLOCKED_FIELD_NUMBER: _ClassVar[int]
    BLOCKED_CODE_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_FIELD_NUMBER: _ClassVar[int]
    LEASE_IDS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_MB_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTED_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    index: int
    name: str
    total_mb: int
    capacity_mb: int
    used_mb: int
    free_mb: int
    foreign_mb: int
    outstanding_mb: int
    claimed_mb: int
    available_mb: int
    blocked: str
    blocked_code: _types_pb2.ReasonCode
    observed_at: _timestamp_pb2.Timestamp
    lease_ids: _containers.RepeatedScalarFieldContainer[str]
    draining_mb: int
    attributed: bool
    def __init__(self, uuid: _Optional[str] = ..., index: _Optional[int] = ..., name: _Optional[str] = ..., total_mb: _Optional[int] = ..., capacity_mb: _Optional[int] = ..., used_mb: _Optional[int] = ..., free_mb: _Optional[int] = ..., foreign_mb: _Optional[int] = ..., outstanding_mb: _Optional[int] = ..., claimed_mb: _Optional[int] = ..., available_mb: _Optional[int] = ..., blocked: _Optional[str] = ..., blocked_code: _Optional[_Union[_types_pb2.ReasonCode, str]] = ..., observed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lease_ids: _Optional[_Iterable[str]] = ..., draining_mb: _Optional[int] = ..., attributed: bool = ...) -> None: ...

class HostAccount(_message.Message):
    __slots__ = ("total_mb", "capacity_mb", "free_mb", "outstanding_mb", "claimed_mb", "available_mb", "observed_at")
    TOTAL_MB_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_MB_FIELD_NUMBER: _ClassVar[int]
    FREE_MB_FIELD_NUMBER: _ClassVar[int]
    OUTSTANDING_MB_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_MB_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_MB_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_FIELD_NUMBER: _ClassVar[int]
    total_mb: int
    capacity_mb: int
    free_mb: int
    outstanding_mb: int
    claimed_mb: int
    available_mb: int
    observed_at: _timestamp_pb2.Timestamp
    def __init__(self, total_mb: _Optional[int] = ..., capacity_mb: _Optional[int] = ..., free_mb: _Optional[int] = ..., outstanding_mb: _Optional[int] = ..., claimed_mb: _Optional[int] = ..., available_mb: _Optional[int] = ..., observed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListQueueResponse(_message.Message):
    __slots__ = ("tickets", "leases", "gpus", "host", "tenants", "suspended")
    TICKETS_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    SUSPENDED_FIELD_NUMBER: _ClassVar[int]
    tickets: _containers.RepeatedCompositeFieldContainer[Ticket]
    leases: _containers.RepeatedCompositeFieldContainer[_types_pb2.Lease]
    gpus: _containers.RepeatedCompositeFieldContainer[GpuAccount]
    host: HostAccount
    tenants: _containers.RepeatedCompositeFieldContainer[TenantAccount]
    suspended: str
    def __init__(self, tickets: _Optional[_Iterable[_Union[Ticket, _Mapping]]] = ..., leases: _Optional[_Iterable[_Union[_types_pb2.Lease, _Mapping]]] = ..., gpus: _Optional[_Iterable[_Union[GpuAccount, _Mapping]]] = ..., host: _Optional[_Union[HostAccount, _Mapping]] = ..., tenants: _Optional[_Iterable[_Union[TenantAccount, _Mapping]]] = ..., suspended: _Optional[str] = ...) -> None: ...

class WatchQueueRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchQueueResponse(_message.Message):
    __slots__ = ("tickets", "leases", "gpus", "host", "tenants", "suspended")
    TICKETS_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    SUSPENDED_FIELD_NUMBER: _ClassVar[int]
    tickets: _containers.RepeatedCompositeFieldContainer[Ticket]
    leases: _containers.RepeatedCompositeFieldContainer[_types_pb2.Lease]
    gpus: _containers.RepeatedCompositeFieldContainer[GpuAccount]
    host: HostAccount
    tenants: _containers.RepeatedCompositeFieldContainer[TenantAccount]
    suspended: str
    def __init__(self, tickets: _Optional[_Iterable[_Union[Ticket, _Mapping]]] = ..., leases: _Optional[_Iterable[_Union[_types_pb2.Lease, _Mapping]]] = ..., gpus: _Optional[_Iterable[_Union[GpuAccount, _Mapping]]] = ..., host: _Optional[_Union[HostAccount, _Mapping]] = ..., tenants: _Optional[_Iterable[_Union[TenantAccount, _Mapping]]] = ..., suspended: _Optional[str] = ...) -> None: ...

class CancelTicketRequest(_message.Message):
    __slots__ = ("ticket_id",)
    TICKET_ID_FIELD_NUMBER: _ClassVar[int]
    ticket_id: str
    def __init__(self, ticket_id: _Optional[str] = ...) -> None: ...

class CancelTicketResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("workload", "policy")
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    workload: _types_pb2.Workload
    policy: str
    def __init__(self, workload: _Optional[_Union[_types_pb2.Workload, _Mapping]] = ..., policy: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("fits_now", "gpus", "reasons", "largest_that_fits", "would_evict", "never_fits", "policy", "position", "largest_now", "eviction_plan")
    FITS_NOW_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    LARGEST_THAT_FITS_FIELD_NUMBER: _ClassVar[int]
    WOULD_EVICT_FIELD_NUMBER: _ClassVar[int]
    NEVER_FITS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    LARGEST_NOW_FIELD_NUMBER: _ClassVar[int]
    EVICTION_PLAN_FIELD_NUMBER: _ClassVar[int]
    fits_now: bool
    gpus: _containers.RepeatedCompositeFieldContainer[_types_pb2.LeasedGpu]
    reasons: _containers.RepeatedCompositeFieldContainer[_types_pb2.Reason]
    largest_that_fits: _types_pb2.ResourceRequirements
    would_evict: _containers.RepeatedScalarFieldContainer[str]
    never_fits: bool
    policy: str
    position: int
    largest_now: _types_pb2.ResourceRequirements
    eviction_plan: _containers.RepeatedCompositeFieldContainer[EvictionVictim]
    def __init__(self, fits_now: bool = ..., gpus: _Optional[_Iterable[_Union[_types_pb2.LeasedGpu, _Mapping]]] = ..., reasons: _Optional[_Iterable[_Union[_types_pb2.Reason, _Mapping]]] = ..., largest_that_fits: _Optional[_Union[_types_pb2.ResourceRequirements, _Mapping]] = ..., would_evict: _Optional[_Iterable[str]] = ..., never_fits: bool = ..., policy: _Optional[str] = ..., position: _Optional[int] = ..., largest_now: _Optional[_Union[_types_pb2.ResourceRequirements, _Mapping]] = ..., eviction_plan: _Optional[_Iterable[_Union[EvictionVictim, _Mapping]]] = ...) -> None: ...

class EvictionVictim(_message.Message):
    __slots__ = ("lease_id", "name", "gpus", "ram_mb", "cost_ms")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    RAM_MB_FIELD_NUMBER: _ClassVar[int]
    COST_MS_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    name: str
    gpus: _containers.RepeatedCompositeFieldContainer[VictimMemory]
    ram_mb: int
    cost_ms: float
    def __init__(self, lease_id: _Optional[str] = ..., name: _Optional[str] = ..., gpus: _Optional[_Iterable[_Union[VictimMemory, _Mapping]]] = ..., ram_mb: _Optional[int] = ..., cost_ms: _Optional[float] = ...) -> None: ...

class VictimMemory(_message.Message):
    __slots__ = ("gpu_uuid", "vram_mb")
    GPU_UUID_FIELD_NUMBER: _ClassVar[int]
    VRAM_MB_FIELD_NUMBER: _ClassVar[int]
    gpu_uuid: str
    vram_mb: int
    def __init__(self, gpu_uuid: _Optional[str] = ..., vram_mb: _Optional[int] = ...) -> None: ...

class GetPolicyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetPolicyResponse(_message.Message):
    __slots__ = ("policy", "available", "discipline", "available_disciplines")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    DISCIPLINE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_DISCIPLINES_FIELD_NUMBER: _ClassVar[int]
    policy: str
    available: _containers.RepeatedScalarFieldContainer[str]
    discipline: str
    available_disciplines: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, policy: _Optional[str] = ..., available: _Optional[_Iterable[str]] = ..., discipline: _Optional[str] = ..., available_disciplines: _Optional[_Iterable[str]] = ...) -> None: ...

class SetPolicyRequest(_message.Message):
    __slots__ = ("policy", "discipline")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    DISCIPLINE_FIELD_NUMBER: _ClassVar[int]
    policy: str
    discipline: str
    def __init__(self, policy: _Optional[str] = ..., discipline: _Optional[str] = ...) -> None: ...

class SetPolicyResponse(_message.Message):
    __slots__ = ("policy", "previous", "discipline", "previous_discipline")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    DISCIPLINE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_DISCIPLINE_FIELD_NUMBER: _ClassVar[int]
    policy: str
    previous: str
    discipline: str
    previous_discipline: str
    def __init__(self, policy: _Optional[str] = ..., previous: _Optional[str] = ..., discipline: _Optional[str] = ..., previous_discipline: _Optional[str] = ...) -> None: ...

class RegisterSystemMonitorRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RegisterSystemMonitorResponse(_message.Message):
    __slots__ = ("monitor",)
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    monitor: SystemMonitor
    def __init__(self, monitor: _Optional[_Union[SystemMonitor, _Mapping]] = ...) -> None: ...

class ListSystemMonitorsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSystemMonitorsResponse(_message.Message):
    __slots__ = ("monitors",)
    MONITORS_FIELD_NUMBER: _ClassVar[int]
    monitors: _containers.RepeatedCompositeFieldContainer[SystemMonitor]
    def __init__(self, monitors: _Optional[_Iterable[_Union[SystemMonitor, _Mapping]]] = ...) -> None: ...

class SystemMonitor(_message.Message):
    __slots__ = ("name", "active", "healthy", "message")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    HEALTHY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    active: bool
    healthy: bool
    message: str
    def __init__(self, name: _Optional[str] = ..., active: bool = ..., healthy: bool = ..., message: _Optional[str] = ...) -> None: ...
