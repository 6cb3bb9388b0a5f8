package console

import (
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/web"
)

func helpRoutes() []route {
	return []route{{pattern: "GET /help", gate: anyone, do: (*visit).help}}
}

func helpPath(c capability.Code) string { return web.PathTo("/help", "q", c.String()) }

// help is every code there is, in the words that every program of ours has for it.
func (v *visit) help() error {
	return v.show("list", "Help", listPage{
		Intro: "Every code that a program of Leasehold may end with, what is behind it, and what to do next.",
		Table: tableOf(v, "/help", capability.Catalog(), []column[capability.Entry]{
			{name: "code", title: "Code", text: func(e *capability.Entry) string { return e.Code.String() }},
			{name: "title", title: "What", text: func(e *capability.Entry) string { return e.Title }},
			{name: "cause", title: "Cause", text: func(e *capability.Entry) string { return e.Cause }},
			{name: "next", title: "Next", text: func(e *capability.Entry) string { return e.Next }},
			{name: "symbol", title: "Symbol", id: true, text: func(e *capability.Entry) string { return e.Symbol }},
		}, "No code like that."),
	})
}
