package model_test

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
)

// A dry run, and what the model does once it is good.
func Example() {
	text := `model "two departments" {
  partitions {
    partition "engineering" { "cad" 2026.1 60 % }  // 7
    partition "sales" { "cad" 2026.1 remainder }
  }
  on dictionary("business-unit": "engineering") { use "engineering", "default" accept }
  on any() { use "sales" accept }
}`
	items := []capability.LineItem{{ActivationID: "A", Feature: "cad", Version: capability.Version{Major: 2026, Minor: 1}, Count: 10}}
	report := model.Check([]byte(text), 0, items)
	for _, f := range report.Findings {
		fmt.Println(f)
	}
	for _, p := range report.Distribution.Pools {
		fmt.Println(p.Name, p.Slices())
	}
	fmt.Println(report.Model.Route(model.Facts{Dictionary: []capability.Pair{{Key: "business-unit", Value: "engineering"}}}).Pools)
	fmt.Println(report.Model.Route(model.Facts{User: "joe"}).Pools)
	// Output:
	// 3:52: the comment says 7 where the allocation of "cad" is 60 %
	// engineering [{A/cad 6}]
	// sales [{A/cad 4}]
	// [engineering default]
	// [sales]
}
