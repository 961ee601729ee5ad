package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/conflist"
)

// env is what the commands share: where networks and plugins are, and where to print.
type env struct {
	netconfDir string
	cniPath    string // a list of directories, as PATH
	containerd string // its socket
	stdin      io.Reader
	stdout     io.Writer
	stderr     io.Writer
	colour     bool // stdout is a terminal that shows colours
}

// addFlags gives a command, and those below it, the flags for what is shared.
func (e *env) addFlags(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&e.netconfDir, "netconf-dir", orDefault("NETCONFPATH", "/etc/cni/net.d"),
		"directory of the networks' files, also `NETCONFPATH`")
	flags.StringVar(&e.cniPath, "cni-path", orDefault("CNI_PATH", "/opt/cni/bin"),
		"directories of the plugins, also `CNI_PATH`")
}

func orDefault(variable, value string) string {
	if set := os.Getenv(variable); set != "" {
		return set
	}
	return value
}

// networks loads all networks, and says which files were left out.
func (e *env) networks() (conflist.Networks, error) {
	networks, err := conflist.Load(e.netconfDir)
	for _, warning := range networks.Warnings {
		e.warn(warning)
	}
	return networks, err
}

// warn tells of something that does not stop the command.
func (e *env) warn(err error) { fmt.Fprintf(e.stderr, "fairway: warning: %v\n", err) }
