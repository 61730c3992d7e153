// Paper is light: a page that is dark on the screen is printed in the light colours.
{
  const root = document.documentElement;
  let theme = null;

  const toPaper = () => {
    theme ??= root.dataset.theme ?? "";
    root.dataset.theme = "light";
  };
  const toScreen = () => {
    if (theme !== null) root.dataset.theme = theme;
    theme = null;
  };

  addEventListener("beforeprint", toPaper);
  addEventListener("afterprint", toScreen);
}
