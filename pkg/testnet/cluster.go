package testnet

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

// MaxMembers is how many members of etcd an underlay has addresses for.
const MaxMembers = 9

func (h *Hosts) etcdDir() string { return filepath.Join(h.config.Dir, "underlay", "etcd") }

// StartEtcd starts an etcd in the underlay, with members at 192.0.2.1, 192.0.2.2 and so on, and waits until they serve.
func (h *Hosts) StartEtcd(count int) (*Etcd, error) {
	if count < 1 || count > MaxMembers {
		return nil, fmt.Errorf("%d members of etcd: give 1 to %d", count, MaxMembers)
	}
	var members []EtcdMember
	for i := 1; i <= count; i++ {
		m := EtcdMember{Name: fmt.Sprintf("m%d", i), Address: fmt.Sprintf("192.0.2.%d", i), Dir: h.etcdDir(), In: h.Underlay}
		m.Life, m.Log = h.config.Life, filepath.Join(h.config.Dir, "underlay", m.Name+".log")
		members = append(members, m)
		if m.Address == Gateway4 {
			continue // it is the underlay's already
		}
		if err := h.Underlay.batch("addr add " + m.Address + "/24 dev sw"); err != nil {
			return nil, err
		}
	}
	return StartEtcd(members...)
}

const (
	// agentBinary is the agent where a host has it: the build puts it beside the plugins.
	agentBinary = "/opt/cni/bin/fairwayd"
	// agentReady is what the agent logs when it serves and all that it knew before is in place.
	agentReady = "msg=running"
	// agentStartMax is how long an agent may take on a busy machine.
	agentStartMax = time.Minute
	// healthInterval is between two questions to an agent.
	healthInterval = 50 * time.Millisecond
)

// StartAgent starts the host's node agent, with more flags if given, and waits until it serves. It may have no connection to
// etcd by then.
func (h *Host) StartAgent(endpoints []string, flags ...string) (*Process, error) {
	args := append([]string{"--etcd-endpoints=" + strings.Join(endpoints, ","), "--underlay=eth0"}, flags...)
	agent, err := h.hosts.config.Life.start(h.Command(agentBinary, args...), filepath.Join(h.dir, "fairwayd.log"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), agentStartMax)
	defer cancel()
	if err := agent.Await(ctx, agentReady); err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	return agent, nil
}

// Agent is a client of the host's node agent.
func (h *Host) Agent() *agentapi.Client {
	return agentapi.New(h.File(agentapi.Socket(agentapi.DefaultRunDir)))
}

// AwaitHealthy waits until the host's agent has nothing to complain of. The error says what it complained of last.
func (h *Host) AwaitHealthy(ctx context.Context) error {
	for {
		health, err := h.Agent().Health(ctx)
		if err == nil && health.Healthy && health.Etcd.Connected {
			return nil
		}
		if err == nil {
			err = errors.New(strings.Join(health.Problems, "; "))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the agent of %s is not healthy in time: %w", h.Name, err)
		case <-time.After(healthInterval): // the API tells when it is asked
		}
	}
}
