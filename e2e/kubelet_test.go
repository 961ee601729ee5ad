package e2e

import (
	"context"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// kubelet asks a container runtime for pods over the Container Runtime Interface.
type kubelet struct {
	runtime cri.RuntimeServiceClient
	cgroup  string
	logs    string
}

// pod is a sandbox: its first container is the web server of the image.
type pod struct {
	id string
	// addresses are all that the runtime reports, the primary one first.
	addresses []string
}

func newKubelet(t *testing.T, d containerd) kubelet {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+d.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // nothing is under way
	succeed(t, command(t, "ctr", "--address", d.socket, "--namespace", "k8s.io",
		"images", "import", "--snapshotter", snapshotter, buildImage(t)))
	return kubelet{runtime: cri.NewRuntimeServiceClient(conn), cgroup: newCgroup(t), logs: t.TempDir()}
}

// call bounds a request, and ends the test when it fails.
func call[Q, R any](t *testing.T, method func(context.Context, *Q, ...grpc.CallOption) (*R, error), request *Q) *R {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	response, err := method(ctx, request)
	if err != nil {
		t.Fatalf("%T: %v", request, err)
	}
	return response
}

// run makes a pod. Mappings are its host ports.
func (k kubelet) run(t *testing.T, name string, mappings ...*cri.PortMapping) pod {
	t.Helper()
	config := k.sandbox(name, mappings)
	id := call(t, k.runtime.RunPodSandbox, &cri.RunPodSandboxRequest{Config: config}).PodSandboxId
	t.Cleanup(func() {
		call(t, k.runtime.RemovePodSandbox, &cri.RemovePodSandboxRequest{PodSandboxId: id})
	})
	network := call(t, k.runtime.PodSandboxStatus, &cri.PodSandboxStatusRequest{PodSandboxId: id}).Status.Network
	p := pod{id: id, addresses: []string{network.Ip}}
	for _, more := range network.AdditionalIps {
		p.addresses = append(p.addresses, more.Ip)
	}
	return p
}

func (k kubelet) sandbox(name string, mappings []*cri.PortMapping) *cri.PodSandboxConfig {
	return &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Uid: name, Namespace: "default"},
		Hostname:     name,
		LogDirectory: filepath.Join(k.logs, name),
		PortMappings: mappings,
		Linux:        &cri.LinuxPodSandboxConfig{CgroupParent: "/" + k.cgroup},
	}
}

// stop tears the pod down, as the kubelet does more than once.
func (k kubelet) stop(t *testing.T, p pod) {
	t.Helper()
	for range 2 {
		call(t, k.runtime.StopPodSandbox, &cri.StopPodSandboxRequest{PodSandboxId: p.id})
	}
}

// start runs a container in the pod for commands to be executed in, and gives back its ID.
func (k kubelet) start(t *testing.T, p pod, name string) string {
	t.Helper()
	id := call(t, k.runtime.CreateContainer, &cri.CreateContainerRequest{
		PodSandboxId:  p.id,
		SandboxConfig: k.sandbox(name, nil),
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: name},
			Image:    &cri.ImageSpec{Image: imageName},
			Command:  []string{"/bin/busybox", "sleep", "600"},
			Linux:    &cri.LinuxContainerConfig{},
		},
	}).ContainerId
	call(t, k.runtime.StartContainer, &cri.StartContainerRequest{ContainerId: id})
	return id
}

// execute runs an applet of busybox in a container and gives back what it printed.
func (k kubelet) execute(t *testing.T, container string, applet ...string) string {
	t.Helper()
	answer := call(t, k.runtime.ExecSync, &cri.ExecSyncRequest{
		ContainerId: container,
		Cmd:         append([]string{"/bin/busybox"}, applet...),
		Timeout:     10, // seconds
	})
	if answer.ExitCode != 0 {
		t.Errorf("%v: exit status %d\nstdout: %s\nstderr: %s", applet, answer.ExitCode, answer.Stdout, answer.Stderr)
	}
	return string(answer.Stdout)
}
