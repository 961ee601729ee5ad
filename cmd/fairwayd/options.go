package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/fairway-cni/fairway/pkg/agent"
	"github.com/fairway-cni/fairway/pkg/etcd"
)

// options are what the command line and the file say.
type options struct {
	agent       agent.Config
	level       slog.Level
	showVersion bool
	// cniPath is the directories of the plugins, as CNI_PATH has them.
	cniPath string
	// holdPorts has sockets hold the host's side of published ports.
	holdPorts bool
	// fastPath has BPF carry packets of overlay networks, without the host's stack.
	fastPath bool
	// namesOnly: no overlay networks, and so no etcd.
	namesOnly bool
}

// texts are options that are not used as they are written.
type texts struct {
	file, level, ca, cert, key string
}

const usage = `fairwayd keeps overlay networks on this host, as etcd has them.

  fairwayd --etcd-endpoints URL,URL [flags]
  fairwayd --config /etc/fairway/fairwayd.yaml
  fairwayd --names-only
  fairwayd rotate-key [--run-dir directory]    replaces the key of this host for encrypted networks

Each flag but config and version is a key of the file, too; flags come first.

`

// flags declares the command line.
func (o *options) flags(t *texts) *pflag.FlagSet {
	f := pflag.NewFlagSet("fairwayd", pflag.ContinueOnError)
	f.SortFlags = false
	c := &o.agent
	f.StringSliceVar(&c.Endpoints, "etcd-endpoints", nil, "etcd's `URLs`, separated by commas")
	f.StringVar(&t.ca, "etcd-cacert", "", "`file` of the authorities that sign etcd's certificates; the system's unless given")
	f.StringVar(&t.cert, "etcd-cert", "", "`file` of this host's certificate for etcd")
	f.StringVar(&t.key, "etcd-key", "", "`file` of its private key")
	f.BoolVar(&c.InsecureRegistry, "insecure-registry", false, "let networks be encrypted although etcd does not tell hosts by certificates")
	f.StringVar(&c.Underlay, "underlay", "", "`link|address` by which other hosts reach this one; the default route's unless given")
	f.StringVar(&c.Node, "node", "", "this host's `name`, which no other has; the host name unless given")
	f.StringVar(&c.NetconfDir, "netconf-dir", c.NetconfDir, "`directory` where runtimes look for networks")
	f.StringVar(&o.cniPath, "cni-path", "/opt/cni/bin", "`directories` of the plugins, by which rules are declared again")
	f.BoolVar(&o.holdPorts, "hold-ports", true, "have sockets, which hear nothing, hold the ports of the host that containers publish")
	f.BoolVar(&o.fastPath, "fast-path", false, "carry packets between containers of plain overlay networks by BPF, without the host's stack")
	f.StringVar(&c.RunDir, "run-dir", c.RunDir, "`directory` of the socket")
	f.StringVar(&c.StateDir, "state-dir", c.StateDir, "`directory` of what survives a reboot")
	f.StringVar(&c.DataDir, "data-dir", c.DataDir, "`directory` where host-local keeps addresses")
	f.StringVar(&c.MetricsAddress, "metrics-address", "", "`host:port` to serve metrics on; else they are on the socket only")
	f.DurationVar(&c.Audit, "audit-interval", c.Audit, "`time` between full comparisons with the kernel")
	f.DurationVar(&c.ReclaimAfter, "reclaim-after", c.ReclaimAfter, "`time` after which others may take a dead host's blocks where there are no others left, of the cluster's first host")
	f.DurationVar(&c.AliveTTL, "alive-ttl", c.AliveTTL, "`time` for which a host counts as alive after its last heartbeat")
	f.DurationVar(&c.LeaveAfter, "leave-after", c.LeaveAfter, "`time` for which a host stays on a network after its last container there")
	f.DurationVar(&c.RotateWithin, "rotate-within", c.RotateWithin, "`time` for which a new key of this host waits at each step for hosts that do not follow")
	f.StringSliceVar(&c.Join, "join", nil, "`networks` that the host is on without containers, too, separated by commas")
	f.StringVar(&t.level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&t.file, "config", "", "YAML `file` with the same keys")
	f.BoolVar(&o.namesOnly, "names-only", false, "answer containers' names and nothing else, as long as there are any")
	f.BoolVar(&o.showVersion, "version", false, "print the version")
	f.Usage = func() { fmt.Fprint(os.Stderr, usage, f.FlagUsagesWrapped(120)) }
	return f
}

// parse reads the command line, and the file that it names.
func parse(args []string, hostname func() (string, error)) (options, error) {
	o, t := options{agent: agent.Defaults()}, texts{}
	o.agent.Version = version
	f := o.flags(&t)
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: see --help", f.Arg(0))
	}
	if o.showVersion {
		return o, nil
	}
	if t.file != "" {
		if err := readFile(f, t.file); err != nil {
			return o, err
		}
	}
	return o, o.complete(t, hostname)
}

// complete interprets what was given as text.
func (o *options) complete(t texts, hostname func() (string, error)) error {
	if err := o.level.UnmarshalText([]byte(t.level)); err != nil {
		return fmt.Errorf("log-level %q: give debug, info, warn or error", t.level)
	}
	if o.namesOnly {
		return nil
	}
	if o.agent.Node == "" {
		name, err := hostname()
		if err != nil {
			return fmt.Errorf("node: %w: give a name", err)
		}
		o.agent.Node = name
	}
	secure := len(o.agent.Endpoints) > 0 && strings.HasPrefix(o.agent.Endpoints[0], "https://")
	if secure || t.ca+t.cert+t.key != "" {
		config, err := etcd.LoadTLS(t.ca, t.cert, t.key)
		if err != nil {
			return err
		}
		o.agent.TLS = config
	}
	return o.agent.Check()
}

// readFile sets the flags that the command line has left, from a YAML file.
func readFile(f *pflag.FlagSet, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	values := make(map[string]any)
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&values); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("config: %s: %w", path, err)
	}
	for key, value := range values {
		flag := f.Lookup(key)
		if flag == nil || key == "config" || key == "version" {
			return fmt.Errorf("config: %s: there is no key %q: see fairwayd --help", path, key)
		}
		if flag.Changed {
			continue
		}
		text, err := scalar(value)
		if err == nil {
			err = f.Set(key, text)
		}
		if err != nil {
			return fmt.Errorf("config: %s: key %s: %w", path, key, err)
		}
	}
	return nil
}

// scalar is a value as a flag is given it: a list is joined by commas.
func scalar(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case int, bool, float64:
		return fmt.Sprint(v), nil
	case []any:
		var parts []string
		for _, part := range v {
			text, err := scalar(part)
			if err != nil {
				return "", err
			}
			parts = append(parts, text)
		}
		return strings.Join(parts, ","), nil
	}
	return "", errors.New("give a text, or a list of texts")
}
