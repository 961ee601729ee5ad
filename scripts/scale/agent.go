package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// agent is a real node agent on the host that the program has made for itself.
type agent struct {
	process *testnet.Process
	started time.Time
}

// startAgent gives the host an underlay and starts its agent.
func startAgent(fairwayd, dir string, endpoints []string, flags ...string) (*agent, error) {
	for _, line := range []string{
		"ip link add eth0 type veth peer name wire", "ip addr add 192.0.2.1/24 dev eth0",
		"ip link set wire up", "ip link set eth0 up",
	} {
		if err := command(line); err != nil {
			return nil, err
		}
	}
	return runAgent(fairwayd, dir, endpoints, flags...)
}

func command(line string) error {
	fields := strings.Fields(line)
	if out, err := exec.Command(fields[0], fields[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", line, err, out)
	}
	return nil
}

// runAgent starts the agent of the host as it is.
func runAgent(fairwayd, dir string, endpoints []string, flags ...string) (*agent, error) {
	sub := func(name string) string { return filepath.Join(dir, name) }
	a := &agent{started: time.Now()}
	all := append([]string{"--etcd-endpoints=" + strings.Join(endpoints, ","), "--underlay=eth0", "--node=real",
		"--netconf-dir=" + sub("net.d"), "--run-dir=" + sub("run"), "--state-dir=" + sub("lib"), "--data-dir=" + sub("cni")}, flags...)
	var err error
	a.process, err = testnet.Start(exec.Command(fairwayd, all...))
	return a, err
}

// awaitPeers waits until the kernel has forwarding entries of a device for so many peers, and gives the time since the start.
func (a *agent) awaitPeers(ctx context.Context, device string, count int) (time.Duration, error) {
	const pause = 50 * time.Millisecond // listing the entries takes the agent's locks in the kernel
	for {
		out, _ := exec.CommandContext(ctx, "bridge", "fdb", "show", "dev", device).Output() // no device yet: none
		if strings.Count(string(out), " dst ") >= count {
			return time.Since(a.started), nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return 0, errors.Join(ctx.Err(), errors.New(a.process.Log()))
		}
	}
}

// memory is the agent's resident set in MiB (proc_pid_status(5), VmRSS).
func (a *agent) memory() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.process.Pid()))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	var kib float64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		return 0, fmt.Errorf("VmRSS: %w", err)
	}
	return kib / 1024, nil
}
