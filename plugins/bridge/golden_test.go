package main

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/golden"
	"github.com/fairway-cni/fairway/pkg/plantest"
)

func TestPlan(t *testing.T) {
	for _, tt := range plans() {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse([]byte(tt.conf), attach.Env{})
			if err != nil {
				t.Fatal(err)
			}
			request := attach.Request{Owner: owner, Removal: tt.removal}
			golden.Compare(t, tt.name+".golden", plantest.Describe(plan(c, request, tt.lease)))
		})
	}
}
