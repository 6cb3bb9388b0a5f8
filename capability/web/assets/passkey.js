// A passkey is made and used by the browser. This file gets the server's question for a form, has the browser answer it, and sends the answer with the form.
for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential || !PublicKeyCredential.parseRequestOptionsFromJSON) continue;
  form.hidden = false;
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    const asked = await fetch(form.dataset.passkey, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (asked.ok) {
      const question = (await asked.json()).publicKey;
      try {
        const answer = form.dataset.make
          ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(question) })
          : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(question) });
        form.elements.credential.value = JSON.stringify(answer);
      } catch {
        return; // whoever sits there has changed the mind, or has no such key
      }
    }
    form.submit(); // without an answer the next page says why not
  });
}
