package ruleset

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// TestVersion: whoever changes a rule or a set changes the version with it, or hosts would keep the old rules.
func TestVersion(t *testing.T) {
	subnets := Masquerade{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.2/24"), netip.MustParsePrefix("fd01::2/64")}}
	sum := sha256.New()
	for _, l := range []layout{subnets.layout(), spoofLayout()} {
		for _, s := range l.sets {
			fmt.Fprintln(sum, nftable.TableName(s.Table), s.Name, s.KeyType.Name, s.IsMap, s.Concatenation, s.Comment)
		}
		for _, s := range l.typeof {
			fmt.Fprintln(sum, nftable.TableName(s.Table), s.Name, s.KeyType.Name, s.Key, s.Comment)
		}
		for _, c := range l.chains {
			fmt.Fprintln(sum, nftable.TableName(c.Table), c.Name, c.Type)
			if c.Hooknum != nil {
				fmt.Fprintln(sum, *c.Hooknum, *c.Priority)
			}
			for _, r := range c.rules {
				fmt.Fprintln(sum, r.why)
				for _, e := range r.exprs {
					data, err := expr.Marshal(byte(l.table.Family), e)
					if err != nil {
						t.Fatal(err)
					}
					fmt.Fprintf(sum, "%x\n", data)
				}
			}
		}
	}
	if want := hex.EncodeToString(sum.Sum(nil)[:4]); version != want {
		t.Errorf("the rules have changed: set version to %q", want)
	}
}

func namedSets(typeof []kernel.TypeofSet) (sets []*nftables.Set) {
	for _, s := range typeof {
		sets = append(sets, s.Set)
	}
	return sets
}

// TestComments: nft reads comments of up to 128 bytes.
func TestComments(t *testing.T) {
	for _, l := range []layout{inetLayout(), spoofLayout()} {
		for _, s := range append(slices.Clone(l.sets), namedSets(l.typeof)...) {
			if s.Comment == "" || len(s.Comment) > 127 {
				t.Errorf("set %s: comment %q", s.Name, s.Comment)
			}
		}
		for _, c := range l.chains {
			for i := range c.rules {
				if comment := c.comment(i); len(comment) > 127 || len(c.rules[i].why) == 0 {
					t.Errorf("chain %s: comment %q has %d bytes", c.Name, comment, len(comment))
				}
			}
		}
	}
}
