package agent

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// Config is what the agent of a host has to know. Defaults has all but Node and Endpoints.
type Config struct {
	// Node is the host's name, which no other has.
	Node string
	// Endpoints are etcd's URLs, all with http or all with https.
	Endpoints []string
	// TLS is nil for http. It holds a private key, and is no part of what is written.
	TLS *etcd.TLS `json:"-"`
	// Underlay is a link or an address of the host, through which peers reach it. Empty: the link of the default route.
	Underlay string
	// NetconfDir is where the runtimes look for networks.
	NetconfDir string
	// RunDir holds the socket; it may be empty after a reboot.
	RunDir string
	// StateDir holds the snapshots, which have to survive a reboot.
	StateDir string
	// DataDir is where host-local keeps its reservations.
	DataDir string
	// MetricsAddress is host:port for Prometheus. Empty: metrics are served on the socket only.
	MetricsAddress string
	// Audit is the time between full comparisons with the kernel.
	Audit time.Duration
	// ReclaimAfter is how long a host has to be dead before others may take its blocks, where there are no others. It is the cluster's: that of the
	// first host that ever ran counts.
	ReclaimAfter time.Duration
	// AliveTTL is how long a host counts as alive after its last heartbeat, in whole seconds.
	AliveTTL time.Duration
	// LeaveAfter is how long a host stays a member of a network, and keeps a block, without a container there.
	LeaveAfter time.Duration
	// Join are networks of which the host is a member without containers, too.
	Join []string
	// InsecureRegistry lets networks be encrypted although etcd does not tell hosts by certificates.
	InsecureRegistry bool
	// RotateWithin is how long this host, while it replaces its key, waits at each step for hosts that do not follow.
	RotateWithin time.Duration
	// Carried counts the packets that passed by the fast path. Nil: there is none.
	Carried func() uint64 `json:"-"`
	// Version of fairwayd.
	Version string
	// Names is what the resolver of this host answers from. Nil: names are neither published nor followed.
	Names *names.Index `json:"-"`
	// NamesRead is closed when Names has the records of this host: what it lacks before has not gone.
	NamesRead <-chan struct{} `json:"-"`
}

// Defaults is the configuration of a usual host.
func Defaults() Config {
	return Config{
		NetconfDir: "/etc/cni/net.d", RunDir: agentapi.DefaultRunDir, StateDir: "/var/lib/fairway", DataDir: hostlocal.DefaultDataDir,
		Audit: time.Minute, ReclaimAfter: 24 * time.Hour, AliveTTL: 30 * time.Second,
		LeaveAfter: 10 * time.Minute, RotateWithin: 10 * time.Minute,
	}
}

// Check says what is wrong with a configuration, by the names of fairwayd's flags.
func (c Config) Check() error {
	if err := registry.CheckNode(c.Node); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	if err := c.checkEndpoints(); err != nil {
		return err
	}
	for name, dir := range map[string]string{
		"netconf-dir": c.NetconfDir, "run-dir": c.RunDir, "state-dir": c.StateDir, "data-dir": c.DataDir,
	} {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("%s %q: give an absolute path", name, dir)
		}
	}
	for name, least := range map[string]struct{ is, min time.Duration }{
		"audit-interval": {c.Audit, time.Second},
		"reclaim-after":  {c.ReclaimAfter, time.Minute},
		"alive-ttl":      {c.AliveTTL, 5 * time.Second},
		"leave-after":    {c.LeaveAfter, time.Second},
		"rotate-within":  {c.RotateWithin, time.Second},
	} {
		if least.is < least.min {
			return fmt.Errorf("%s %v: give %v or more", name, least.is, least.min)
		}
	}
	return nil
}

func (c Config) checkEndpoints() error {
	if len(c.Endpoints) == 0 {
		return errors.New("etcd-endpoints is missing: give etcd's URLs, such as https://192.0.2.1:2379")
	}
	for _, e := range c.Endpoints {
		scheme, host, found := strings.Cut(e, "://")
		if !found || host == "" || strings.ContainsAny(host, "/ ") || scheme != "http" && scheme != "https" {
			return fmt.Errorf("etcd-endpoints: %q is no URL of a member: write one such as https://192.0.2.1:2379", e)
		}
		if secure := scheme == "https"; secure != (c.TLS != nil) {
			return errors.New("etcd-endpoints: etcd-cacert, etcd-cert and etcd-key are for https: write all URLs with it, or none and leave these out")
		}
	}
	return nil
}
