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
