package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairway-cni/fairway/pkg/blueprint"
)

// createFlags are the options of create.
type createFlags struct {
	blueprint.Order
	ipv4   bool
	dryRun bool
}

func newCreate(e *env) *cobra.Command {
	var o createFlags
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] NETWORK",
		Short: "Create a network",
		Long: `Create a network: a file in the netconf directory, which any CNI runtime can use from then on. Prints its ID.

Without --subnet it gets the next of Docker's address pools that overlaps no route, address, nameserver or other network of
the host. What cannot be honoured is an error.

The driver is bridge, macvlan, overlay, or any other CNI plugin that is installed; its options are then the keys of its
configuration, typed by their looks. Options have Docker's names or those of the plugin:

    bridge    com.docker.network.bridge.name, …enable_icc, …enable_ip_masquerade,
              …gateway_mode_ipv4, …gateway_mode_ipv6, com.docker.network.driver.mtu
    macvlan   parent (eth0, or eth0.10 for a VLAN), macvlan_mode, hostAccess,
              com.docker.network.driver.mtu
    overlay   vxlanid_list, com.docker.network.driver.mtu, peers

An overlay is made on all hosts by fairwayd. Without fairwayd, the option peers lists each host and the part of the subnet
that is its own, and the command is the same on every host.`,
		Example: `  fairway create lamp
  fairway create --subnet 10.5.0.0/16 --ip-range 10.5.9.0/24 --gateway 10.5.9.254 lamp
  fairway create --ipv6 --internal --label tier=db db
  fairway create -d macvlan -o parent=eth0 --subnet 192.0.2.0/24 --gateway 192.0.2.1 lan
  fairway create -d overlay --subnet 10.42.0.0/16 \
      -o peers=192.0.2.11=10.42.1.0/24,192.0.2.12=10.42.2.0/24 wide
  fairway create -d ptp --subnet 10.6.0.0/24 -o ipMasq=true direct
  fairway create --dry-run lamp                # print the file instead`,
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name, o.NoIPv4 = args[0], !o.ipv4
			return create(cmd, e, o)
		},
	}
	o.addFlags(cmd.Flags())
	refusedOfCreate.addTo(cmd)
	e.addAgentFlag(cmd)
	for flag, complete := range map[string]cobra.CompletionFunc{
		"driver": e.completeDriver, "opt": completeOption, "config-from": e.completeNetwork,
		"scope": cobra.FixedCompletions([]cobra.Completion{"local", "global"}, completed),
	} {
		must(cmd.RegisterFlagCompletionFunc(flag, complete))
	}
	return cmd
}

func (o *createFlags) addFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&o.Driver, "driver", "d", "", "`driver` of the network (default bridge)")
	flags.StringArrayVarP(&o.Options, "opt", "o", nil, "option `KEY=VALUE` of the driver")
	flags.StringArrayVar(&o.Labels, "label", nil, "`KEY=VALUE` to find the network by")
	flags.StringSliceVar(&o.Subnets, "subnet", nil, "`CIDR` of a subnet")
	flags.StringSliceVar(&o.Ranges, "ip-range", nil, "`CIDR` of the part of a subnet that containers get addresses of")
	flags.StringSliceVar(&o.Gateways, "gateway", nil, "`address` of a subnet's gateway")
	flags.StringArrayVar(&o.Aux, "aux-address", nil, "`NAME=ADDRESS` that no container gets")
	flags.BoolVar(&o.ipv4, "ipv4", true, "choose an IPv4 subnet when none is given")
	flags.BoolVar(&o.IPv6, "ipv6", false, "choose an IPv6 subnet when none is given")
	flags.BoolVar(&o.Internal, "internal", false, "no way to other networks")
	flags.BoolVar(&o.Attachable, "attachable", false, "kept for Docker's sake: containers can be connected to any network")
	flags.StringVar(&o.Scope, "scope", "", "`scope` of the network, which is the driver's (local or global)")
	flags.StringVar(&o.IPAMDriver, "ipam-driver", "", "IPAM `plugin` instead of host-local; none for no addresses")
	flags.StringArrayVar(&o.IPAMOptions, "ipam-opt", nil, "`KEY=VALUE` for another IPAM plugin's configuration")
	flags.StringVar(&o.ConfigFrom, "config-from", "", "copy the configuration of a `network`")
	flags.BoolVar(&o.ConfigOnly, "config-only", false, "keep a configuration for --config-from, and make no network")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print the file that would be written, and do nothing")
}

func create(cmd *cobra.Command, e *env, o createFlags) error {
	if o.dryRun {
		return dryRun(cmd, e, o)
	}
	ctx, cancel := undisturbed(cmd)
	defer cancel()
	n, err := e.host().Create(ctx, o.Order)
	if err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, n.ID)
	return nil
}

// dryRun prints the file, or the definition that fairwayd would get.
func dryRun(cmd *cobra.Command, e *env, o createFlags) error {
	if o.ByAgent() {
		definition, err := e.host().DrawOverlay(o.Order)
		if err != nil {
			return err
		}
		encoder := json.NewEncoder(e.stdout)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(definition)
	}
	definition, err := e.host().Draw(cmd.Context(), o.Order)
	if err != nil {
		return err
	}
	content, err := definition.Encode()
	if err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, strings.TrimSpace(string(content)))
	return nil
}
