package sluice

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"sluice/sluicev1"
)

const gpu = "GPU-00000000-0000-4000-8000-000000000000"

type waitStream = grpc.ServerStreamingServer[sluicev1.WaitForResourcesResponse]

// fakeServer is the real gRPC stack with answers that a test chooses: it grants what it is asked for, unless a test says otherwise.
type fakeServer struct {
	sluicev1.UnimplementedSchedulerServiceServer
	sluicev1.UnimplementedExecutorServiceServer

	address string
	ttl     time.Duration
	// What a test may replace before it calls. turn counts from 1.
	onWait     func(turn int, stream waitStream) error
	onCancel   func() error
	onRelease  func()
	onAllocate func() (*sluicev1.AllocateResponse, error)
	onRenew    func(ctx context.Context) error
	onStart    func() error
	onExecute  func(stream grpc.ServerStreamingServer[sluicev1.StreamExecutionResponse]) error
	watch      []*sluicev1.WatchLeaseResponse

	lock  sync.Mutex
	asked []*sluicev1.WaitForResourcesRequest
	heard []string
	token uint64
	pid   uint32
}

// startFakeServer starts one. What another process calls has to be there before.
func startFakeServer(t testing.TB, prepare ...func(*fakeServer)) *fakeServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{address: listener.Addr().String(), ttl: time.Minute}
	for _, change := range prepare {
		change(s)
	}
	server := grpc.NewServer()
	sluicev1.RegisterSchedulerServiceServer(server, s)
	sluicev1.RegisterExecutorServiceServer(server, s)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return s
}

func (s *fakeServer) note(what string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.heard = append(s.heard, what)
}

// count is how often something was heard.
func (s *fakeServer) count(what string) int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return len(slices.DeleteFunc(slices.Clone(s.heard), func(heard string) bool { return heard != what }))
}

func (s *fakeServer) waits() []*sluicev1.WaitForResourcesRequest {
	s.lock.Lock()
	defer s.lock.Unlock()
	return slices.Clone(s.asked)
}

func (s *fakeServer) lease() *sluicev1.Lease {
	return &sluicev1.Lease{
		Id:    "lease-1",
		Token: 7,
		Gpus:  []*sluicev1.LeasedGpu{{Uuid: gpu, VramMb: 4096}},
		Ttl:   durationpb.New(s.ttl),
		Env:   map[string]string{"CUDA_VISIBLE_DEVICES": gpu, "SLUICE_LEASE_ID": "lease-1", "SLUICE_ADDRESS": "elsewhere:1"},
	}
}

func (s *fakeServer) queued(position uint32) *sluicev1.WaitForResourcesResponse {
	reason := &sluicev1.Reason{Code: sluicev1.ReasonCode_REASON_CODE_INSUFFICIENT_GPU_MEMORY, Message: "GPU 0 is full"}
	queued := &sluicev1.Queued{Position: position, QueueLength: 3, Reasons: []*sluicev1.Reason{reason}}
	return &sluicev1.WaitForResourcesResponse{TicketId: "ticket-1", Event: &sluicev1.WaitForResourcesResponse_Queued{Queued: queued}}
}

func (s *fakeServer) granted() *sluicev1.WaitForResourcesResponse {
	granted := &sluicev1.Granted{Lease: s.lease()}
	return &sluicev1.WaitForResourcesResponse{TicketId: "ticket-1", Event: &sluicev1.WaitForResourcesResponse_Granted{Granted: granted}}
}

func (s *fakeServer) WaitForResources(request *sluicev1.WaitForResourcesRequest, stream waitStream) error {
	s.lock.Lock()
	s.asked = append(s.asked, request)
	turn := len(s.asked)
	s.lock.Unlock()
	if s.onWait != nil {
		return s.onWait(turn, stream)
	}
	return stream.Send(s.granted())
}

func (s *fakeServer) Allocate(context.Context, *sluicev1.AllocateRequest) (*sluicev1.AllocateResponse, error) {
	if s.onAllocate != nil {
		return s.onAllocate()
	}
	return &sluicev1.AllocateResponse{Outcome: &sluicev1.AllocateResponse_Lease{Lease: s.lease()}}, nil
}

func (s *fakeServer) RenewLease(ctx context.Context, _ *sluicev1.RenewLeaseRequest) (*sluicev1.RenewLeaseResponse, error) {
	s.note("renew")
	if s.onRenew != nil {
		if err := s.onRenew(ctx); err != nil {
			return nil, err
		}
	}
	// As the real one does: without env.
	lease := s.lease()
	lease.Env = nil
	return &sluicev1.RenewLeaseResponse{Lease: lease}, nil
}

func (s *fakeServer) ReleaseLease(context.Context, *sluicev1.ReleaseLeaseRequest) (*sluicev1.ReleaseLeaseResponse, error) {
	s.note("release")
	if s.onRelease != nil {
		s.onRelease()
	}
	return &sluicev1.ReleaseLeaseResponse{}, nil
}

func (s *fakeServer) CancelTicket(context.Context, *sluicev1.CancelTicketRequest) (*sluicev1.CancelTicketResponse, error) {
	s.note("cancel")
	if s.onCancel != nil {
		return nil, s.onCancel()
	}
	return &sluicev1.CancelTicketResponse{}, nil
}

func (s *fakeServer) StartExecution(context.Context, *sluicev1.StartExecutionRequest) (*sluicev1.StartExecutionResponse, error) {
	s.note("start")
	if s.onStart != nil {
		return nil, s.onStart()
	}
	return &sluicev1.StartExecutionResponse{ExecutionId: "execution-1"}, nil
}

func (s *fakeServer) FinishExecution(context.Context, *sluicev1.FinishExecutionRequest) (*sluicev1.FinishExecutionResponse, error) {
	s.note("finish")
	return &sluicev1.FinishExecutionResponse{}, nil
}

func (s *fakeServer) AttachProcess(_ context.Context, request *sluicev1.AttachProcessRequest) (*sluicev1.AttachProcessResponse, error) {
	s.lock.Lock()
	s.pid = request.GetPid()
	s.lock.Unlock()
	s.note("attach")
	return &sluicev1.AttachProcessResponse{}, nil
}

func (s *fakeServer) WatchLease(request *sluicev1.WatchLeaseRequest, stream grpc.ServerStreamingServer[sluicev1.WatchLeaseResponse]) error {
	s.lock.Lock()
	s.token = request.GetToken()
	s.lock.Unlock()
	s.note("watch")
	for _, message := range s.watch {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return nil
}

func (s *fakeServer) StreamExecution(
	_ *sluicev1.StreamExecutionRequest, stream grpc.ServerStreamingServer[sluicev1.StreamExecutionResponse],
) error {
	return s.onExecute(stream)
}

// until waits until something holds.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// done waits until a context is done and answers its cause.
func done(t testing.TB, ctx context.Context) error {
	t.Helper()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(10 * time.Second):
		t.Fatal("the context is not done in time")
		return nil
	}
}
