// Pages work without this file. With it, what is dropped on a form's file field is sent at once, and markup that htmx swaps in comes from this server only.
if (window.trustedTypes && trustedTypes.createPolicy) {
  trustedTypes.createPolicy("default", { createHTML: (markup) => markup });
}
// A browser may show a page again that it kept whole, also after its session has ended: then it is asked for anew.
window.addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
document.addEventListener("dragover", (e) => { if (e.target.closest(".drop")) e.preventDefault(); });
document.addEventListener("drop", (e) => {
  const zone = e.target.closest(".drop");
  if (!zone) return;
  e.preventDefault();
  const field = zone.querySelector("input[type=file]");
  field.files = e.dataTransfer.files;
  field.form.requestSubmit();
});
// A page that names a stream of events is kept up to date: what comes are parts of the page, each in the place of the one with its name. Where somebody types in a part, it waits until that is done.
const page = document.querySelector("main[data-live]");
if (page && window.EventSource) {
  const search = page.querySelector("form[role=search]");
  let source, later, parts;
  const typed = (part) => part.matches(":focus-within") && part.querySelector("input:focus, select:focus, textarea:focus") || [...part.querySelectorAll("input:not([type=hidden]), select, textarea")].some((f) => f.type === "checkbox" ? f.checked !== f.defaultChecked : f.value !== (f.defaultValue ?? f.value));
  const show = () => {
    if (!parts) return;
    const come = document.createElement("template");
    come.innerHTML = parts;
    parts = undefined;
    for (const part of [...come.content.children]) {
      const old = document.getElementById(part.id);
      if (old && typed(old)) parts = come.innerHTML;
      else old?.replaceWith(part);
    }
  };
  const over = () => {
    source.close();
    const note = document.createElement("p");
    note.setAttribute("role", "status");
    note.textContent = "This page is not kept up to date any more. Load it again to see what is new.";
    page.prepend(note);
  };
  const listen = () => {
    source?.close();
    parts = undefined;
    if (document.hidden) return;
    const asked = new URLSearchParams(location.search);
    for (const [name, value] of search ? new FormData(search) : []) {
      if (name === "q" && value !== (asked.get("q") ?? "")) asked.delete("page");
      asked.set(name, value);
    }
    source = new EventSource(page.dataset.live + "?" + asked);
    source.addEventListener("shown", (e) => { parts = e.data; show(); });
    source.addEventListener("over", over);
    source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) over(); });
  };
  page.addEventListener("focusout", () => setTimeout(show));
  document.addEventListener("visibilitychange", listen);
  search?.addEventListener("input", () => { clearTimeout(later); later = setTimeout(listen, 300); });
  listen();
}
